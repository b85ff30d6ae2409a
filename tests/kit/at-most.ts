/** Runs `run` for each item, at most so many at once, and answers what each came to, in order. Rejects with the first failure once all have ended. */
export async function atMost<Item, Value>(
  count: number,
  items: readonly Item[],
  run: (item: Item, index: number) => Promise<Value>,
): Promise<Value[]> {
  const found: Value[] = []
  let next = 0
  const lane = async () => {
    for (let index = next++; index < items.length; index = next++) found[index] = await run(items[index] as Item, index)
  }
  const ends = await Promise.allSettled(Array.from({ length: count }, lane))
  for (const end of ends) if (end.status === 'rejected') throw end.reason
  return found
}
