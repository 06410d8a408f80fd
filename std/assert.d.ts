/** Thrown when an assertion fails. */
export class AssertionError extends Error {
  constructor(message: string, options?: ErrorOptions);
}
/** Asserts that `condition` is truthy. */
export function assert(condition: unknown, message?: string): asserts condition;
/** Asserts deep equality. */
export function assertEquals<T>(actual: T, expected: T, message?: string): void;
/** Asserts deep inequality. */
export function assertNotEquals<T>(actual: T, expected: T, message?: string): void;
/** Asserts `Object.is` equality. */
export function assertStrictEquals<T>(actual: unknown, expected: T, message?: string): void;
/** Asserts that two numbers differ by at most `tolerance`. */
export function assertAlmostEquals(
  actual: number,
  expected: number,
  tolerance?: number,
  message?: string,
): void;
/** Asserts `actual > expected`. */
export function assertGreater<T>(actual: T, expected: T, message?: string): void;
/** Asserts `actual < expected`. */
export function assertLess<T>(actual: T, expected: T, message?: string): void;
/** Asserts `actual <= expected`. */
export function assertLessOrEqual<T>(actual: T, expected: T, message?: string): void;
/** Asserts `actual >= expected`. */
export function assertGreaterOrEqual<T>(actual: T, expected: T, message?: string): void;
/** Asserts that `actual` contains `expected`. */
export function assertStringIncludes(actual: string, expected: string, message?: string): void;
/** Asserts that `actual` matches `expected`. */
export function assertMatch(actual: string, expected: RegExp, message?: string): void;
/** Asserts that `actual` is an instance of `type`. */
// deno-lint-ignore no-explicit-any
export function assertInstanceOf<T extends abstract new (...args: any[]) => any>(
  actual: unknown,
  type: T,
  message?: string,
): asserts actual is InstanceType<T>;
/** Asserts that `fn` throws an error of the class whose message includes the text. */
export function assertThrows<E extends Error>(
  fn: () => unknown,
  // deno-lint-ignore no-explicit-any
  errorClass?: abstract new (...args: any[]) => E,
  messageIncludes?: string,
): E;
/** Asserts that `fn` rejects with an error of the class whose message includes the text. */
export function assertRejects<E extends Error>(
  fn: () => PromiseLike<unknown>,
  // deno-lint-ignore no-explicit-any
  errorClass?: abstract new (...args: any[]) => E,
  messageIncludes?: string,
): Promise<E>;
