// Formulas are drawn when a page is shown; `document$` is the theme's, and speaks on every change of page.
document$.subscribe(({ body }) => {
  renderMathInElement(body, { delimiters: [{ left: "\\[", right: "\\]", display: true }, { left: "\\(", right: "\\)", display: false }] })
})
