#!/bin/sh
# npx trigger.dev@3 deploy
npx trigger.dev@3.3.17 deploy
npx trigger.dev@4.8.3 deploy
curl -X POST "$BASE/api/v1/tasks/batch"
