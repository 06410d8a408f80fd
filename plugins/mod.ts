/**
 * The shipped plugins, in the order of the pipeline.
 *
 * @module
 */

import type { Plugin } from "../spec/mod.ts";
import { kivi } from "./cache/kivi/mod.ts";
import { static8 } from "./cache/static8/mod.ts";
import { biasCorrection } from "./compensate/bias-correction/mod.ts";
import { lqer } from "./compensate/lqer/mod.ts";
import { klDivergence } from "./evaluate/kl-divergence/mod.ts";
import { perplexity } from "./evaluate/perplexity/mod.ts";
import { omniquant } from "./learn/omniquant/mod.ts";
import { qlora } from "./learn/qlora/mod.ts";
import { signround } from "./learn/signround/mod.ts";
import { hawq } from "./plan/hawq/mod.ts";
import { sensitivity } from "./plan/sensitivity/mod.ts";
import { gptq } from "./quantize/gptq/mod.ts";
import { hqq } from "./quantize/hqq/mod.ts";
import { llmInt8 } from "./quantize/llm-int8/mod.ts";
import { squeezellm } from "./quantize/squeezellm/mod.ts";
import { spqr } from "./quantize/spqr/mod.ts";
import { quip } from "./quantize/quip/mod.ts";
import { rtn } from "./quantize/rtn/mod.ts";
import { awq } from "./transform/awq/mod.ts";
import { osPlus } from "./transform/os-plus/mod.ts";
import { quarot } from "./transform/quarot/mod.ts";
import { smoothquant } from "./transform/smoothquant/mod.ts";

export { gptq, type GptqOptions } from "./quantize/gptq/mod.ts";
export { hqq, type HqqOptions } from "./quantize/hqq/mod.ts";
export { llmInt8, type LlmInt8Options } from "./quantize/llm-int8/mod.ts";
export { squeezellm, type SqueezellmOptions } from "./quantize/squeezellm/mod.ts";
export { spqr, type SpqrOptions } from "./quantize/spqr/mod.ts";
export { quip, type QuipOptions } from "./quantize/quip/mod.ts";
export { rtn, type RtnOptions } from "./quantize/rtn/mod.ts";
export { awq, type AwqOptions } from "./transform/awq/mod.ts";
export { osPlus, type OsPlusOptions } from "./transform/os-plus/mod.ts";
export { quarot, type QuarotOptions } from "./transform/quarot/mod.ts";
export { smoothquant, type SmoothquantOptions } from "./transform/smoothquant/mod.ts";
export { lqer, type LqerOptions } from "./compensate/lqer/mod.ts";
export { biasCorrection } from "./compensate/bias-correction/mod.ts";
export { hawq, type HawqOptions } from "./plan/hawq/mod.ts";
export { sensitivity, type SensitivityOptions } from "./plan/sensitivity/mod.ts";
export { omniquant, type OmniquantOptions } from "./learn/omniquant/mod.ts";
export { qlora, type QloraOptions } from "./learn/qlora/mod.ts";
export { signround, type SignroundOptions } from "./learn/signround/mod.ts";
export { kivi, type KiviOptions } from "./cache/kivi/mod.ts";
export { static8, type Static8Options } from "./cache/static8/mod.ts";
export { perplexity } from "./evaluate/perplexity/mod.ts";
export { klDivergence } from "./evaluate/kl-divergence/mod.ts";

/** Every shipped plugin. `tests/architecture_test.ts` holds this list against the folders. */
export const PLUGINS: readonly Plugin[] = [
  sensitivity,
  hawq,
  quarot,
  smoothquant,
  osPlus,
  awq,
  rtn,
  gptq,
  hqq,
  llmInt8,
  quip,
  spqr,
  squeezellm,
  lqer,
  biasCorrection,
  omniquant,
  signround,
  qlora,
  kivi,
  static8,
  perplexity,
  klDivergence,
];
