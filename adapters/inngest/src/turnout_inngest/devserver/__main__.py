from turnout_inngest.devserver.main import main

if __name__ == "__main__":
    main()
