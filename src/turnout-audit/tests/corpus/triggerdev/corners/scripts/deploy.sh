VERSION=$(node -p "require('./package.json').dependencies['@trigger.dev/sdk']")
npx --yes "trigger.dev@${VERSION}" deploy
# npx trigger.dev deploy
