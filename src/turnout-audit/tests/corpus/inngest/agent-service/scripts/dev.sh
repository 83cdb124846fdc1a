#!/bin/sh
# start inngest beside the API
set -eu
export INNGEST_DEV=1
npx inngest-cli@latest dev -u http://localhost:8000/api/inngest &
docker run --rm -p 8288:8288 inngest/inngest:latest inngest dev
uvicorn app.main:app --reload
