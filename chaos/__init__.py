"""The chaos harness: it hurts real programs on purpose and judges what is left of their data.

What is imported when: a module imports at its head what each of its uses takes. Inside a function stands only the
import of a part that most runs do without: what a single command, kind of scenario or form of report takes, or a
replay; the module's head says so. The faces of the packages below which many do without much (`disk`, `fleet`,
`scenario`, `scenario.runner`) load each public name from its own module when it is first asked for.
"""
