/**
 * Certificates for servers on loopback, made by openssl.
 *
 * @module
 */

/** Runs openssl; false where there is none. */
export async function openssl(cwd: string, ...args: string[]): Promise<boolean> {
  try {
    const command = new Deno.Command("openssl", { args, cwd, stdout: "null", stderr: "null" });
    return (await command.output()).success;
  } catch {
    return false;
  }
}

/** A CA and what it has signed for 127.0.0.1: `ca.pem`, `leaf.pem`, `leaf.key`. */
export async function makeCertificates(dir: string): Promise<void> {
  const make = (line: string) => openssl(dir, ...line.split(" "));
  await Deno.writeTextFile(
    `${dir}/san`,
    "subjectAltName=IP:127.0.0.1\nbasicConstraints=CA:FALSE\n",
  );
  await make("req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.pem -days 2 -subj /CN=ca");
  await make("req -newkey rsa:2048 -nodes -keyout leaf.key -out leaf.csr -subj /CN=leaf");
  await make(
    "x509 -req -in leaf.csr -CA ca.pem -CAkey ca.key -CAcreateserial -out leaf.pem -days 2 -extfile san",
  );
}
