const test = require("node:test");
const assert = require("node:assert");
const { greet } = require("./main.js");

test("greets everybody", () => assert.match(greet(), /, world$/));
