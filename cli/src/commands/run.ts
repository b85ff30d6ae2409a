/** `portico run IMAGE -- CMD…`: a sandbox for one command. It is destroyed whatever happens: an error, Ctrl-C during the command or while it boots. */

import type { Sandbox, SandboxUsage } from '@portico/sdk'
import { NotFoundError } from '@portico/sdk/errors'
import type { Command } from 'commander'
import { addGuestOptions, execOptions, type GuestOptions, guestCommand } from '../args/guest-command.ts'
import { addSandboxOptions, createOptions, type SandboxOptions } from '../args/sandbox-options.ts'
import { lines } from '../output/failure.ts'
import { exitCodeOf } from '../output/result.ts'
import { elapsed } from '../output/time.ts'
import { followCommand, startCommand } from '../run-command.ts'
import type { Session } from '../session.ts'

type Options = SandboxOptions & GuestOptions

export function define(run: Command, session: Session): void {
  addSandboxOptions(addGuestOptions(run)).action(async (image: string, words: string[], options: Options) => {
    const command = guestCommand(words, options)
    const exec = options.json ? await execOptions(options, session.signal) : undefined
    await using portico = await session.connect()
    const begin = performance.now()
    await session.progress.begin(`creating a sandbox of ${image}`)
    const sandbox = await portico.create({ ...createOptions(image, options), signal: session.signal })
    let usage: SandboxUsage | undefined
    try {
      await session.progress.done(`sandbox ready in ${elapsed(performance.now() - begin)}`)
      if (exec === undefined)
        await followCommand(session, await startCommand(session, sandbox, command, options), options)
      else {
        const result = await sandbox.exec(command, exec)
        session.exitCode = exitCodeOf(result)
        usage = await destroy(session, sandbox)
        await session.terminal.printJson({ sandbox, ...result, usage })
      }
    } finally {
      usage ??= await destroy(session, sandbox)
    }
  })
}

/** Destroys the sandbox. A failure is told, and changes nothing of how the command ended. */
async function destroy(session: Session, sandbox: Sandbox): Promise<SandboxUsage | undefined> {
  try {
    return await sandbox.destroy()
  } catch (error) {
    if (error instanceof NotFoundError) return undefined
    await session.terminal.complain(lines(error))
    await session.terminal.complain(`hint: the sandbox may still run: portico stop ${sandbox.id}\n`)
    return undefined
  }
}
