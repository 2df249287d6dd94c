/**
 * What an administrator can do about a server's certificate that was refused.
 *
 * @module
 */

/** The advice, to stand behind the reason. @param why What the runtime's TLS library (rustls) says. */
export function certificateAdvice(why: string): string {
  if (/expired/i.test(why)) {
    return "renew the server's certificate; if it is not older than that, set this machine's clock";
  }
  if (/not ?valid ?yet/i.test(why)) {
    return "set this machine's clock, or the server's certificate anew";
  }
  if (/not ?valid ?for ?name/i.test(why)) {
    return "use a name in the endpoint that the certificate is for";
  }
  if (/CaUsedAsEndEntity/.test(why)) {
    return "the server shows the certificate of a CA as its own: make it one with " +
      "basicConstraints=CA:FALSE, signed by that CA";
  }
  return "name the CA's file in ca_cert_path, or correct the endpoint's name";
}
