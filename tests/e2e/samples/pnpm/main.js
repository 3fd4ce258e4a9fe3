const { everybody } = require("words");

const greeting = "hello";

exports.greet = () => `${greeting}, ${everybody}`;

if (require.main === module) console.log(exports.greet());
