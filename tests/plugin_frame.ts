/**
 * The frame of the small plugins in docs/plugins.md.
 *
 * @module
 */

import { z } from "zod";
import { definePlugin, type Plugin, PLUGIN_API_VERSION, type PluginMeta, schema } from "../mod.ts";

/** A plugin with some hooks and no options. */
export function frame(
  name: string,
  hooks: Omit<Plugin, "meta" | "options">,
  meta: Partial<PluginMeta> = {},
): Plugin {
  return definePlugin<unknown>({
    meta: {
      name,
      version: "1.0.0",
      apiVersion: PLUGIN_API_VERSION,
      summary: "an example of the documentation",
      needs: { statistics: [] },
      supports: {},
      determinism: "exact",
      ...meta,
    },
    options: schema(`options of ${name}`, z.strictObject({})),
    ...hooks,
  });
}
