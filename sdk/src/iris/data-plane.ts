/** Calls to one sandbox's own host, with its token: a call that is refused with 401 is made once more with a new one. */

import type { z } from 'zod'
import { IrisError } from './errors.ts'
import type { Gateway } from './gateway.ts'
import { type IrisToken, Tokens } from './tokens.ts'
import { type Answer, type Call, checked } from './wire.ts'

export class DataPlane {
  readonly #gateway: Gateway
  readonly #origin: string
  readonly #tokens: Tokens

  constructor(gateway: Gateway, id: string, domain: string, token: IrisToken | undefined) {
    this.#gateway = gateway
    // The data plane is served as the gateway is.
    this.#origin = `${new URL(gateway.baseUrl).protocol}//${domain}`
    this.#tokens = new Tokens(token, () => gateway.issueToken(id, {}))
  }

  /** The JSON of the answer, checked. */
  async json<Schema extends z.ZodType>(call: Call, schema: Schema): Promise<z.output<Schema>> {
    return checked(await this.#send(call), call.doing, schema)
  }

  /** The bytes of the answer. */
  async bytes(call: Call): Promise<Uint8Array<ArrayBuffer>> {
    return (await this.#send(call)).bytes
  }

  async #send(call: Call): Promise<Answer> {
    const token = await this.#tokens.current(call)
    try {
      return await this.#gateway.send(call, this.#origin, token)
    } catch (error) {
      if (!(error instanceof IrisError) || error.status !== 401) throw error
      return await this.#gateway.send(call, this.#origin, await this.#tokens.inPlaceOf(token, call))
    }
  }
}
