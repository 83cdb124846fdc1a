from turnout_inngest_double.main import main

if __name__ == "__main__":
    main()
