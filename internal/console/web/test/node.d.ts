// What the tests use of Node, whose types are not installed for that.
declare module "node:test" {
  export function test(name: string, run: () => void): void;
}
declare module "node:assert/strict" {
  const assert: { equal(a: unknown, b: unknown, message?: string): void; deepEqual(a: unknown, b: unknown, message?: string): void; ok(a: unknown, message?: string): void };
  export default assert;
}
