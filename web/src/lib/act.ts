import { ask, resourcePath } from "./api";
import { t } from "./texts";
import { toasts, words } from "./toast.svelte";
import type { Device, Rep } from "./types";

/** Changes properties of a resource; false if the device did not take it, of which the person has been told. */
export async function change(device: Device, href: string, values: Rep): Promise<boolean> {
  try {
    await ask("POST", resourcePath(device.di, href), { body: values });
    return true;
  } catch (err) {
    toasts.say(t("control.refused", { name: device.name || device.di.slice(0, 8), why: words(err) }), true);
    return false;
  }
}
