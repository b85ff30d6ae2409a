/** The iii surface of the wire server, for the functions that the CLI calls: sandboxes are those of the server. A test may put others in their place. */

import type { WireServer } from '@portico/sdk/test-server'
import { sandboxIdOfUuid, uuidOf } from '@portico/shared/ids'
import { newSandbox } from './sandbox.ts'

type Data = Readonly<Record<string, unknown>>

/** What a function that fails says, as the platform does. */
export class Failure {
  readonly error: object

  constructor(code: string, message: string, type = 'validation') {
    this.error = { code: 'handler error', message: JSON.stringify({ type, code, message, retryable: false }) }
  }
}

export class WireEngine {
  readonly calls: { readonly name: string; readonly data: Data }[] = []
  readonly paths: string[] = []
  readonly functions: Record<string, (data: Data) => unknown>

  constructor(wire: WireServer) {
    this.functions = {
      'sandbox::create': async ({ image }) => ({ sandbox_id: uuidOf((await newSandbox(wire)) as never), image }),
      'sandbox::stop': ({ sandbox_id: uuid }) => {
        const id = sandboxIdOfUuid(String(uuid))
        if (id === undefined) return new Failure('S001', `sandbox_id is not a valid UUID: ${uuid}`)
        if (!wire.sandboxes.delete(id)) return new Failure('S002', `sandbox not found: ${uuid}`)
        return { sandbox_id: uuid, stopped: true }
      },
      'sandbox::list': () => ({
        sandboxes: [...wire.sandboxes.values()].map(({ record }) => ({
          sandbox_id: uuidOf(record.id as never),
          name: record.name ?? null,
          image: record.image,
          age_secs: 65,
          exec_in_progress: true,
          stopped: false,
        })),
      }),
    }
    void this.#serve(wire)
  }

  async #serve(wire: WireServer): Promise<void> {
    for (;;) {
      const socket = await wire.sockets.next()
      this.paths.push(socket.path)
      socket.onMessage(async (text) => {
        const { type, invocation_id, function_id: name, data } = JSON.parse(text)
        if (type !== 'invokefunction') return
        this.calls.push({ name, data })
        const result = await this.functions[name]?.(data)
        const outcome = result instanceof Failure ? { error: result.error } : { result }
        socket.say({ type: 'workerregistered', worker_id: 'w', reattach_token: 't' })
        socket.say({ type: 'invocationresult', invocation_id, function_id: name, ...outcome })
      })
    }
  }
}
