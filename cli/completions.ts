/**
 * `lowbit completions`: completions of shells, from the same data as `--help`.
 *
 * @module
 */

import { unknownName } from "../spec/mod.ts";
import { type Command, COMMON } from "./arguments.ts";
import { writeLine } from "./progress.ts";

const SHELLS: Record<string, (commands: readonly Command[]) => string> = { bash, zsh, fish };

/** The command; `commands` are those that are completed, itself included once it is among them. */
export function completionsCommand(commands: () => readonly Command[]): Command {
  return {
    name: "completions",
    usage: "bash|zsh|fish",
    summary: "Print completions for a shell: commands, options and presets of recipes.",
    positional: [1, 1],
    options: [],
    run(args) {
      const [shell] = args.positional;
      if (!Object.hasOwn(SHELLS, shell)) throw unknownName("shell", shell, Object.keys(SHELLS));
      writeLine(SHELLS[shell](commands()).trimEnd());
    },
  };
}

/** Options of a command, the common ones last. */
function optionsOf(command: Command) {
  return [...command.options, ...COMMON];
}

/** Text inside single quotes of bash and zsh. */
function quote(text: string): string {
  return `'${text.replaceAll("'", `'\\''`)}'`;
}

function bash(commands: readonly Command[]): string {
  const cases = commands.map((command) =>
    `    ${command.name}) words="${optionsOf(command).map(({ name }) => `--${name}`).join(" ")}" ;;`
  );
  return `# lowbit completions bash > ~/.local/share/bash-completion/completions/lowbit
_lowbit() {
  local current=\${COMP_WORDS[COMP_CWORD]} words
  if ((COMP_CWORD == 1)); then
    mapfile -t COMPREPLY < <(compgen -W "${
    commands.map(({ name }) => name).join(" ")
  }" -- "$current")
    return
  fi
  case \${COMP_WORDS[1]} in
${cases.join("\n")}
    *) return ;;
  esac
  if [[ $current == -* ]]; then mapfile -t COMPREPLY < <(compgen -W "$words" -- "$current")
  else mapfile -t COMPREPLY < <(compgen -f -- "$current"); fi
}
complete -o filenames -F _lowbit lowbit`;
}

function zsh(commands: readonly Command[]): string {
  const describe = (text: string) => text.replaceAll("[", "(").replaceAll("]", ")");
  const cases = commands.map((command) => {
    const options = optionsOf(command).map(({ name, help, type, value, many }) =>
      quote(
        `${many ? "*" : ""}--${name}[${describe(help)}]` +
          (type === "flag" ? "" : `:${(value ?? "VALUE").replaceAll(":", "\\:")}:_files`),
      )
    );
    return `    ${command.name}) _arguments ${options.join(" ")} '*:file:_files' ;;`;
  });
  const names = commands.map(({ name, summary }) => quote(`${name}:${summary}`));
  return `#compdef lowbit
# lowbit completions zsh > "\${fpath[1]}/_lowbit"
_lowbit() {
  if ((CURRENT == 2)); then
    local -a commands=(${names.join(" ")})
    _describe command commands
    return
  fi
  local command=$words[2]
  shift words
  ((CURRENT--))
  case $command in
${cases.join("\n")}
  esac
}
if [[ $zsh_eval_context[-1] == loadautofunc ]]; then _lowbit "$@"; else compdef _lowbit lowbit; fi`;
}

function fish(commands: readonly Command[]): string {
  const lines = commands.flatMap((command) => [
    `complete -c lowbit -n __fish_use_subcommand -a ${command.name} -d ${
      fishQuote(command.summary)
    }`,
    ...optionsOf(command).map(({ name, help, type }) =>
      `complete -c lowbit -n '__fish_seen_subcommand_from ${command.name}' -l ${name} ` +
      `${type === "flag" ? "" : "-r "}-d ${fishQuote(help)}`
    ),
  ]);
  return ["# lowbit completions fish > ~/.config/fish/completions/lowbit.fish", ...lines].join(
    "\n",
  );
}

function fishQuote(text: string): string {
  return `'${text.replaceAll("\\", "\\\\").replaceAll("'", "\\'")}'`;
}
