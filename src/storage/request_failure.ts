/**
 * Why a request had no answer, in words for people.
 *
 * @module
 */

/**
 * The runtime tells the whole way through its HTTP client: "error sending request for url (http://a/b?c):
 * client error (Connect): tcp connect error: Connection refused (os error 111): Connection refused (os
 * error 111)". An administrator wants the server and the reason. The URL's query can hold a signature,
 * and its path is told by our own message: both are left out.
 */
export function requestFailure(message: string): string {
  const [first, ...rest] = message.replace(/ \(os error \d+\)/g, "").split(": ");
  const server = /^error sending request.*?(https?:\/\/[^\s/?)]+)/.exec(first!)?.[1];
  const why = [server === undefined ? first! : `no answer from ${server}`, ...rest]
    .filter((part) => !/^(client error \(\w+\)|tcp connect error)$/.test(part));
  return [...new Set(why)].join(": ").replace(/\?[^\s)"']*/g, "");
}
