// Where the program reads from and writes to: the process's own streams, or a test's.

export interface Terminal {
  /** For results: what a script would read. */
  out(text: string): void
  /** For people: progress, warnings, errors. */
  err(text: string): void
  /** stderr itself where it is a terminal that can show a bar. */
  readonly bar: NodeJS.WriteStream | undefined
  readonly signal: AbortSignal
}
