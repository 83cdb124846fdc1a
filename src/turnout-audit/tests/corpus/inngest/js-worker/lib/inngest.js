// a helper that kept its old file name, inngest.js
exports.resize = async (path) => path.replace(".png", ".small.png");
exports.kind = "INNGEST_IS_NOT_A_KEY_HERE".toLowerCase();
