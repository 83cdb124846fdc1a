# helm install oci://ghcr.io/restatedev/restate-helm was tried first
helm upgrade --install rooms oci://ghcr.io/restatedev/restate-operator-helm
restate deployments register http://greeter:9080
echo to restate: services come first
pip install --no-cache-dir "restate-sdk[serde]==1.3.0"
npm uninstall @restatedev/restate
