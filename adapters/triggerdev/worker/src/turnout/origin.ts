/** Where the service is: an address that signed messages may go to. */

/** Tells what is wrong with a service's address, or undefined. Never repeats a secret in it. */
export function faultOf(address: string): string | undefined {
  const url = URL.canParse(address) ? new URL(address) : undefined;
  if (url === undefined) return "is not a URL like https://agents.example.org";
  if (url.protocol !== "http:" && url.protocol !== "https:") {
    return `starts with ${url.protocol.slice(0, 20)} but must start with http: or https:`;
  }
  if (url.username !== "" || url.password !== "") return "must not hold a user or a password";
  if (/[?#]/.test(address)) return "must not have a query or a fragment";
  return undefined;
}
