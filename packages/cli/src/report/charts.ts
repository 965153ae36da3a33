import type { Distribution } from './details.js'

/** A bar of the per-site chart. */
export interface Bar {
  readonly name: string
  readonly value: number
}

/** Draws charts as SVG text. Loaded when a page is asked for: the chart library is large. */
export interface Charts {
  bars(title: string, bars: readonly Bar[], unit: string): string
  distribution(d: Distribution): string
}

const WIDTH = 900
const BAR_HEIGHT = 22

/** @throws whatever the import throws if the chart library is not installed. */
export async function loadCharts(): Promise<Charts> {
  const echarts = await import('echarts')
  const draw = (height: number, width: number, option: Parameters<ReturnType<typeof echarts.init>['setOption']>[0]): string => {
    const chart = echarts.init(null, null, { renderer: 'svg', ssr: true, width, height })
    try {
      chart.setOption({ animation: false, textStyle: { fontFamily: 'system-ui, sans-serif' }, ...option })
      return chart.renderToSVGString()
    } finally {
      // An undisposed chart keeps its timer, and with it the process, alive.
      chart.dispose()
    }
  }
  return {
    bars: (title, bars, unit) =>
      draw(70 + bars.length * BAR_HEIGHT, WIDTH, {
        title: { text: title, textStyle: { fontSize: 14 } },
        grid: { left: 330, right: 60, top: 36, bottom: 24 },
        xAxis: { type: 'value', name: unit },
        yAxis: { type: 'category', inverse: true, data: bars.map((b) => b.name), axisLabel: { width: 310, overflow: 'truncate', fontSize: 11 } },
        series: [{ type: 'bar', data: bars.map((b) => Number(b.value.toFixed(2))), label: { show: true, position: 'right', fontSize: 10 }, itemStyle: { color: '#3b6ea5' } }],
      }),
    distribution: (d) =>
      draw(220, 440, {
        title: { text: d.title, textStyle: { fontSize: 11, width: 420, overflow: 'truncate' } },
        grid: { left: 16, right: 16, top: 30, bottom: 28 },
        xAxis: { type: 'value', min: Math.min(d.low, d.range?.[0] ?? d.low), max: Math.max(d.high, d.range?.[1] ?? d.high), axisLabel: { fontSize: 9, formatter: (v: number) => v.toPrecision(3) } },
        // Roots make the tails visible that decide about clipping.
        yAxis: { show: false, type: 'value' },
        series: [
          {
            type: 'line',
            step: 'middle',
            symbol: 'none',
            lineStyle: { width: 1 },
            areaStyle: { opacity: 0.5 },
            color: '#3b6ea5',
            data: d.counts.map((count, i) => [d.low + ((i + 0.5) * (d.high - d.low)) / d.counts.length, Math.sqrt(count)]),
            ...(d.range === undefined ? {} : { markLine: { symbol: 'none', silent: true, label: { show: false }, lineStyle: { color: '#b3261e' }, data: d.range.map((x) => ({ xAxis: x })) } }),
          },
        ],
      }),
  }
}
