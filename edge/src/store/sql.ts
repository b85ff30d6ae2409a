/** SQL as named statements: a statement is written once, with the types of its row and parameters, and prepared by the platform. */

export type SqlValue = ArrayBuffer | string | number | null
type Row = Record<string, SqlValue>

export interface Statement<Result extends Row, Parameters extends readonly SqlValue[]> {
  /** All rows. */
  all(...parameters: Parameters): Result[]
  /** The first row. */
  first(...parameters: Parameters): Result | undefined
  /** For its effect; the answer is how many rows were written. */
  run(...parameters: Parameters): number
}

/** Makes a statement of an object's database. */
export function statement<Result extends Row = Row, Parameters extends readonly SqlValue[] = []>(
  sql: SqlStorage,
  text: string,
): Statement<Result, Parameters> {
  return {
    all: (...parameters) => sql.exec<Result>(text, ...parameters).toArray(),
    first: (...parameters) => sql.exec<Result>(text, ...parameters).toArray()[0],
    run: (...parameters) => {
      const cursor = sql.exec(text, ...parameters)
      cursor.toArray()
      return cursor.rowsWritten
    },
  }
}
