// The command failed and has said all there is to say: only the exit code is left.

export class Failed extends Error {
  override readonly name = 'Failed'
}
