/* version: which release the library is from. Nobody calls it: it is found in the file by its first
 * words, in a process that runs too (p4-cache shim check).
 */
__attribute__((used)) static const char version[] = "p4-cache shim version " P4_VERSION;
