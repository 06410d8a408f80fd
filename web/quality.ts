/**
 * Measured quality of recipes, as the page shows it.
 *
 * @module
 */

/** A row of a generated table of quality. */
export interface QualityRow {
  /** The model. */
  model: string;
  /** The recipe. */
  recipe: string;
  /** Bits a weight over all parameters. */
  bits: number;
  /** Perplexity. */
  perplexity: number;
  /** KL divergence from the model in full precision, nats. */
  kl: number;
  /** How often the likeliest token is the same. */
  top1: number;
}
