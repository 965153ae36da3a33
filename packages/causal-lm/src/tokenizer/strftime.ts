const DAYS = ['Sunday', 'Monday', 'Tuesday', 'Wednesday', 'Thursday', 'Friday', 'Saturday'] as const
const MONTHS = ['January', 'February', 'March', 'April', 'May', 'June', 'July', 'August', 'September', 'October', 'November', 'December'] as const

const two = (n: number): string => String(n).padStart(2, '0')

/** Python's `strftime` in the C locale, as far as templates use it. Unknown codes stay as they are. */
export function strftime(date: Date, format: string): string {
  const codes: Readonly<Record<string, () => string>> = {
    a: () => (DAYS[date.getDay()] as string).slice(0, 3),
    A: () => DAYS[date.getDay()] as string,
    b: () => (MONTHS[date.getMonth()] as string).slice(0, 3),
    B: () => MONTHS[date.getMonth()] as string,
    d: () => two(date.getDate()),
    e: () => String(date.getDate()).padStart(2, ' '),
    m: () => two(date.getMonth() + 1),
    y: () => two(date.getFullYear() % 100),
    Y: () => String(date.getFullYear()),
    H: () => two(date.getHours()),
    I: () => two(date.getHours() % 12 === 0 ? 12 : date.getHours() % 12),
    M: () => two(date.getMinutes()),
    S: () => two(date.getSeconds()),
    p: () => (date.getHours() < 12 ? 'AM' : 'PM'),
    j: () => String(Math.floor((Date.UTC(date.getFullYear(), date.getMonth(), date.getDate()) - Date.UTC(date.getFullYear(), 0, 0)) / 86_400_000)).padStart(3, '0'),
    F: () => strftime(date, '%Y-%m-%d'),
    T: () => strftime(date, '%H:%M:%S'),
    '%': () => '%',
  }
  return format.replace(/%(-?)([a-zA-Z%])/g, (whole, dash: string, code: string) => {
    const text = Object.hasOwn(codes, code) ? codes[code]?.() : undefined
    return text === undefined ? whole : dash === '' ? text : text.replace(/^[0 ](?=.)/, '')
  })
}
