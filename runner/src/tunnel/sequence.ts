/** Numbers what this process tells the edge of itself, from 1: a status when it is read, an event when it happens. The edge tells by it what comes late. */
export function counter(): () => number {
  let last = 0
  return () => ++last
}
