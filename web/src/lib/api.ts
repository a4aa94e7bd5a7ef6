/** What the server says of a failure (RFC 9457), as an error. */
export class Problem extends Error {
  constructor(
    readonly status: number, // 0: no answer came
    detail: string,
    readonly code = "", // of the device that refused, if one did
  ) {
    super(detail);
  }
}

/** Called when the server no longer knows us. */
let signedOut = () => {};

export function onSignedOut(f: () => void) {
  signedOut = f;
}

export interface Options {
  body?: unknown;
  ifMatch?: string;
  signal?: AbortSignal;
}

export interface Answer<T> {
  body: T;
  etag: string;
}

/** Asks the API and returns what it answers. Every failure is a Problem. */
export async function ask<T>(method: string, path: string, options: Options = {}): Promise<Answer<T>> {
  const headers: Record<string, string> = { Accept: "application/json" };
  if (options.body !== undefined) headers["Content-Type"] = "application/json";
  if (options.ifMatch) headers["If-Match"] = options.ifMatch;
  const init: RequestInit = { method, headers };
  if (options.body !== undefined) init.body = JSON.stringify(options.body);
  if (options.signal) init.signal = options.signal;
  const response = await reach(path, init);
  const text = await response.text();
  return { body: (text ? JSON.parse(text) : undefined) as T, etag: response.headers.get("ETag") ?? "" };
}

export async function get<T>(path: string, signal?: AbortSignal): Promise<T> {
  return (await ask<T>("GET", path, signal ? { signal } : {})).body;
}

/** Is fetch for paths under /api/v1, with failures as Problems. */
export async function reach(path: string, init: RequestInit): Promise<Response> {
  let response: Response;
  try {
    response = await fetch("/api/v1/" + path, { ...init, credentials: "same-origin", cache: "no-store" });
  } catch (err) {
    if (init.signal?.aborted) throw err;
    throw new Problem(0, "");
  }
  if (response.ok) return response;
  const problem = await problemOf(response);
  if (problem.status === 401 && path !== "session") signedOut();
  throw problem;
}

async function problemOf(response: Response): Promise<Problem> {
  try {
    const doc = (await response.json()) as { detail?: string; title?: string; code?: string };
    return new Problem(response.status, doc.detail || doc.title || "", doc.code);
  } catch {
    return new Problem(response.status, response.statusText);
  }
}

/** The path of a resource of a device; each part of href is encoded once. */
export function resourcePath(di: string, href: string): string {
  const [path = "", query] = href.split("?", 2);
  return `devices/${di}/resources${path.split("/").map(encodeURIComponent).join("/")}${query ? "?" + query : ""}`;
}
