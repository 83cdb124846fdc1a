/** Reads values of unknown shape, and names what is wrong with them. */

export type Fields = Readonly<Record<string, unknown>>;

/** What was read does not have the shape that was agreed; the text names the field. */
export class Unreadable extends Error {
  override readonly name = "Unreadable";
}

export function fieldsOf(value: unknown, where: string): Fields {
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw new Unreadable(`${where}: must be an object`);
  }
  return value as Fields;
}

export function textOf(value: unknown, where: string): string {
  if (typeof value !== "string") throw new Unreadable(`${where}: must be a text`);
  return value;
}

export function countOf(value: unknown, where: string): number {
  if (typeof value !== "number" || !Number.isSafeInteger(value)) {
    throw new Unreadable(`${where}: must be a whole number`);
  }
  return value;
}

export function listOf(value: unknown, where: string): readonly unknown[] {
  if (!Array.isArray(value)) throw new Unreadable(`${where}: must be a list`);
  return value;
}

/** Reads a field that may be absent or null. */
export function optional<T>(
  value: unknown,
  where: string,
  read: (value: unknown, where: string) => T,
): T | undefined {
  return value === undefined || value === null ? undefined : read(value, where);
}
