/** The command line: what there is, how it reads, and how Commander's complaints become ours. */

import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { Command } from 'commander'
import { addAdmin } from './commands/admin.ts'
import { addAttach } from './commands/attach.ts'
import { addAudit } from './commands/audit.ts'
import { addCheckpoint } from './commands/checkpoint.ts'
import { addConsole } from './commands/console.ts'
import { addCp } from './commands/cp.ts'
import { addCreate } from './commands/create.ts'
import { addDoctor } from './commands/doctor.ts'
import { addExec } from './commands/exec.ts'
import { addFork } from './commands/fork.ts'
import { addHibernate, addResume } from './commands/hibernate.ts'
import { addHistory } from './commands/history.ts'
import { addImages } from './commands/images.ts'
import { addKill } from './commands/kill.ts'
import { addList } from './commands/list.ts'
import { addLs } from './commands/ls.ts'
import { addMkdir } from './commands/mkdir.ts'
import { addMv } from './commands/mv.ts'
import { addOutput } from './commands/output.ts'
import { addPorts } from './commands/ports.ts'
import { addPs } from './commands/ps.ts'
import { addRestore } from './commands/restore.ts'
import { addRm } from './commands/rm.ts'
import { addRun } from './commands/run.ts'
import { addRunners } from './commands/runners.ts'
import { addSearch } from './commands/search.ts'
import { addService } from './commands/service.ts'
import { addSet } from './commands/set.ts'
import { addShell } from './commands/shell.ts'
import { addSnapshot } from './commands/snapshot.ts'
import { addSnapshots } from './commands/snapshots.ts'
import { addStat } from './commands/stat.ts'
import { addStop } from './commands/stop.ts'
import { addStore } from './commands/store.ts'
import { addUp } from './commands/up.ts'
import { addUrl } from './commands/url.ts'
import { addUsage } from './commands/usage.ts'
import { addWatch } from './commands/watch.ts'
import { addWebhooks } from './commands/webhooks.ts'
import { format } from './output/failure.ts'
import { Session } from './session.ts'

/** In the order of the help. */
const commands = [
  addRun,
  addCreate,
  addExec,
  addShell,
  addConsole,
  addPs,
  addOutput,
  addAttach,
  addKill,
  addPorts,
  addUrl,
  addService,
  addLs,
  addStat,
  addMkdir,
  addCp,
  addMv,
  addRm,
  addSearch,
  addWatch,
  addStore,
  addList,
  addSet,
  addStop,
  addFork,
  addSnapshot,
  addRestore,
  addSnapshots,
  addCheckpoint,
  addHibernate,
  addResume,
  addImages,
  addUsage,
  addHistory,
  addAudit,
  addWebhooks,
  addAdmin,
  addRunners,
  addUp,
  addDoctor,
]

const examples = `
Examples:
  portico up
  portico run python -- python3 -c 'print("hi")'
  portico exec "$(portico create python)" --shell 'echo $((6 * 7))'
  portico shell "$id"
  curl "$(portico url "$id" 8000)"
  portico cp . "$id:/app" && portico ls "$id" /app
  portico fork --count 3 "$id" | xargs portico stop
  portico restore "$(portico snapshot "$id")"
  portico stop $(portico list -q)

The platform is what --url and --key say, or PORTICO_URL and PORTICO_API_KEY,
or the one that \`portico up\` runs on this machine. \`admin\` and \`runners\` are the
operator's and take PORTICO_ADMIN_KEY instead.
`

/** The program and the session that its commands work in. */
export function makeProgram(): { program: Command; session: Session } {
  const program = new Command('portico')
  const session = new Session(() => program.opts())
  program
    .description('Run code that you did not write, each piece in a microVM of its own.')
    .version(version(), '--version', 'print the version')
    .option('--url <url>', 'the platform')
    .option('--key <key>', 'the API key, or the operator’s')
    .helpOption('-h, --help', 'print help')
    .helpCommand(false)
    .addHelpText('after', examples)
    .configureHelp({ sortOptions: false, showGlobalOptions: false, subcommandTerm })
    .configureOutput({ outputError: (text, write) => write(complaint(text)) })
    .exitOverride()
  for (const add of commands) add(program, session)
  return { program, session }
}

/** A command in the list of all: its name and what it takes. */
function subcommandTerm(command: Command): string {
  return `${command.name()} ${command.usage().replace(/\[options\] ?/, '')}`.trim()
}

/** Commander's `error: …`, as a line and a hint of ours. */
function complaint(text: string): string {
  const [, message = text, suggestion] = /^error: (.*?)(?:\s*\((Did you mean .*)\))?\s*$/s.exec(text) ?? []
  return format(
    `cannot read the command line: ${message}`,
    suggestion ?? '`portico --help` and `portico COMMAND --help` say more.',
  )
}

function version(): string {
  const text = readFileSync(join(import.meta.dirname, '..', 'package.json'), 'utf8')
  return (JSON.parse(text) as { version: string }).version
}
