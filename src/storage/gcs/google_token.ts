/**
 * The one place that uses Google's authentication library. Import it dynamically: it is needed only
 * where a token is. (A package in CommonJS that is itself imported dynamically loses its names in the
 * bundle.)
 *
 * @module
 */

import {
  type AuthClient,
  ExternalAccountAuthorizedUserClient,
  ExternalAccountClient,
  GoogleAuth,
  JWT,
  UserRefreshClient,
} from "google-auth-library";
import type { AccessToken } from "./gcs_credentials.ts";

const SCOPE = "https://www.googleapis.com/auth/devstorage.read_write";

/** How long a token is taken to last where nobody says, ms. */
const UNKNOWN_LIFE_MS = 10 * 60_000;

/** Content of a credentials file. */
export type CredentialsFile = Readonly<Record<string, unknown>> & { readonly type: string };

/**
 * Gets a new token.
 * @param file Null: the application-default credentials.
 * @param projectId Null: the credentials' own.
 * @param send Sends the requests for tokens, but for those of workload identity federation and of the
 * metadata server, which the library sends itself.
 * @throws Error of the library, or that the file is of a kind that cannot be used
 */
export async function getGoogleToken(
  file: CredentialsFile | null,
  projectId: string | null,
  send: typeof fetch,
): Promise<AccessToken> {
  const client = file === null ? await defaultClient(projectId, send) : clientOf(file, send);
  const { token } = await client.getAccessToken();
  if (!token) throw new Error("the answer has no token");
  return { token, expiresMs: client.credentials.expiry_date ?? Date.now() + UNKNOWN_LIFE_MS };
}

function defaultClient(projectId: string | null, send: typeof fetch): Promise<AuthClient> {
  return new GoogleAuth({
    scopes: SCOPE,
    // Without one the library looks for it, even by running gcloud; objects need none.
    projectId: projectId ?? "none",
    clientOptions: { transporterOptions: { fetchImplementation: send } },
  }).getClient();
}

/** The client for a file; the library wants its kind to be chosen, not guessed. */
function clientOf(file: CredentialsFile, send: typeof fetch): AuthClient {
  const options = { transporterOptions: { fetchImplementation: send } };
  const text = (name: string) => {
    const value = file[name];
    if (typeof value === "string" && value !== "") return value;
    throw new Error(`the file has no "${name}"`);
  };
  switch (file.type) {
    case "service_account":
      return new JWT({
        ...options,
        email: text("client_email"),
        key: text("private_key"),
        ...(typeof file.private_key_id === "string" ? { keyId: file.private_key_id } : {}),
        scopes: SCOPE,
      });
    case "authorized_user":
      return new UserRefreshClient({
        ...options,
        clientId: text("client_id"),
        clientSecret: text("client_secret"),
        refreshToken: text("refresh_token"),
      });
    case "external_account": {
      type Options = Parameters<typeof ExternalAccountClient.fromJSON>[0];
      const client = ExternalAccountClient.fromJSON({ ...file, ...options } as unknown as Options);
      if (client === null) throw new Error("the file describes no workload identity");
      client.scopes = SCOPE;
      return client;
    }
    case "external_account_authorized_user": {
      type Options = ConstructorParameters<typeof ExternalAccountAuthorizedUserClient>[0];
      return new ExternalAccountAuthorizedUserClient(
        { ...file, ...options } as unknown as Options,
      );
    }
    default:
      throw new Error(
        `the file's type "${file.type}" is none of service_account, authorized_user, ` +
          "external_account, external_account_authorized_user; name files of other types in " +
          "GOOGLE_APPLICATION_CREDENTIALS",
      );
  }
}
