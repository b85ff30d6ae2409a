/** What a sandbox uses: now, over the last minutes as a plot, and in all. */

import type { RunRecord, UsageResponse } from '@portico/shared/api'
import { useRef } from 'preact/hooks'
import { ofRun } from '../api.ts'
import { bytes, cents, duration, percent } from '../figures.ts'
import { type Load, loadBetween, plotPoints, type Sample } from '../load.ts'
import { Notice } from '../parts/notice.tsx'
import { useApi } from '../parts/platform.ts'
import { usePolling } from '../parts/polling.ts'
import { Figure } from '../sandboxes/list.tsx'

const everyMs = 2000
/** Five minutes. */
const room = 150
const size = { width: 600, height: 120 }

export function UsageTab({ run }: { run: RunRecord }) {
  const api = useApi()
  const last = useRef<Sample>(undefined)
  const loads = useRef<readonly Load[]>([])
  const { value: usage, failure } = usePolling(
    async (signal) => {
      const sample = { at: Date.now(), usage: await api.json<UsageResponse>(ofRun(run.id, 'usage'), { signal }) }
      const load = loadBetween(last.current, sample, run.vcpus)
      if (load !== undefined) loads.current = [...loads.current, load].slice(-room)
      last.current = sample
      return sample.usage
    },
    everyMs,
    [api, run.id],
  )
  const memory = run.mem_mib * 1_048_576
  const now = loads.current.at(-1)
  return (
    <section aria-label="Usage">
      <Notice failure={failure} />
      {usage !== undefined && (
        <>
          <Plot
            name="CPU"
            says={now === undefined ? 'measuring' : `${percent(now.cpu)} of ${run.vcpus} vCPU`}
            values={loads.current.map(({ cpu }) => cpu)}
            most={1}
          />
          <Plot
            name="Memory"
            says={`${bytes(usage.mem_current_bytes)} of ${bytes(memory)}`}
            values={loads.current.map(({ memoryBytes }) => memoryBytes)}
            most={memory}
          />
          <dl class="figures wide">
            <Figure name="Cost" value={cents(usage.cost_cents)} />
            <Figure name="Up" value={duration(usage.uptime_ms)} />
            <Figure name="Processor time" value={`${(usage.cpu_ms / 1000).toFixed(1)} s`} />
            <Figure name="Most memory" value={bytes(usage.mem_peak_bytes)} />
            <Figure name="Disk" value={bytes(usage.disk_used_bytes)} />
          </dl>
        </>
      )}
    </section>
  )
}

interface PlotProps {
  readonly name: string
  readonly says: string
  readonly values: readonly number[]
  readonly most: number
}

function Plot({ name, says, values, most }: PlotProps) {
  return (
    <figure class="plot">
      <figcaption>
        {name}: <span>{says}</span>
      </figcaption>
      <svg
        viewBox={`0 0 ${size.width} ${size.height}`}
        preserveAspectRatio="none"
        role="img"
        aria-label={`${name} over the last five minutes, now ${says}`}
      >
        <line x1={0} y1={size.height / 2} x2={size.width} y2={size.height / 2} class="half" />
        <polyline points={plotPoints(values, most, room, size)} vector-effect="non-scaling-stroke" />
      </svg>
    </figure>
  )
}
