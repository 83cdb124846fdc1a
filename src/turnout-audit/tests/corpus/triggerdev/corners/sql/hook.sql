select net.http_post(url := 'https://api.trigger.dev/api/v1/tasks/a/trigger');
-- https://api.trigger.dev
