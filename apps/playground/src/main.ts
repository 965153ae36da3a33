import { defineReportElement, REPORT_STYLE } from '@lowbit/report'
import { render } from 'lit-html'
import { Controller } from './controller.js'
import { pageView } from './views/page.js'

const root = document.getElementById('page')
if (root !== null) {
  defineReportElement()
  const style = document.createElement('style')
  style.textContent = REPORT_STYLE
  document.head.append(style)
  root.replaceChildren()
  const controller = new Controller()
  let isAsked = false
  const show = (): void => {
    isAsked = false
    render(pageView(controller), root)
  }
  controller.store.listen(() => {
    if (isAsked) return
    isAsked = true
    requestAnimationFrame(show)
  })
  controller.readAddress(location.hash)
  addEventListener('hashchange', () => controller.readAddress(location.hash))
  show()
}
