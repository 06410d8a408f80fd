/**
 * Work folders: scratch space of a run on disk, for its journal and for activations that memory is
 * not to hold. Reading and writing are synchronous, so that a window can be fetched in the middle
 * of a computation.
 *
 * @module
 */

/** A file with random access. */
export interface WorkFile {
  /** Its size in bytes. */
  readonly size: number;
  /** Fills `bytes` from `offset`; a `TRUNCATED` error if there are fewer. */
  read(offset: number, bytes: Uint8Array): void;
  /** Writes bytes at `offset`; the file grows as needed. */
  write(offset: number, bytes: Uint8Array): void;
  /** Cuts the file to a size. */
  truncate(size: number): void;
  /** Returns when what was written survives a loss of power. */
  sync(): void;
  /** Closes it. Closing twice does nothing. */
  close(): void;
}

/** A folder that one run has for itself, and that the next run finds again. */
export interface WorkFolder {
  /** What the user called the output that it belongs to. */
  readonly name: string;
  /** Whether there is a file. */
  has(name: string): boolean;
  /** Opens a file, which is made if it is not there. */
  open(name: string): WorkFile;
  /** Removes a file, if it is there. */
  remove(name: string): void;
  /** Gives the folder to the next run, as it is. */
  release(): void;
  /** Removes the folder and everything in it. */
  discard(): void;
}
