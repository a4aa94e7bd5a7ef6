import { ask, Problem, resourcePath } from "./api";
import { t } from "./texts";
import { toasts, words } from "./toast.svelte";
import type { Device, Rep } from "./types";
import { nameOf } from "./view";

/** Changes properties of a resource; answers why the device did not take it, "" if it did. */
export async function change(device: Device, href: string, values: Rep): Promise<string> {
  try {
    await ask("POST", resourcePath(device.di, href), { body: values });
    return "";
  } catch (err) {
    const byDevice = err instanceof Problem && err.code !== "";
    return t(byDevice ? "control.refused" : "control.unchanged", { name: nameOf(device), why: words(err) });
  }
}

/** The same from anywhere on the page: a refusal is told in a remark. */
export async function command(device: Device, href: string, values: Rep) {
  const refusal = await change(device, href, values);
  if (refusal) toasts.say(refusal, true);
}
