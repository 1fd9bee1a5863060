using System.CommandLine;
using System.CommandLine.Help;
using System.CommandLine.Parsing;
using Gemma4Edge.Cli.Verbs;
using Gemma4Edge.Model;
using Gemma4Edge.Model.ModelFile;
using Gemma4Edge.Model.Text;
using Gemma4Edge.Runtime;
using Gemma4Edge.Service;
using Gemma4Edge.Service.Mqtt;

namespace Gemma4Edge.Cli;

/// <summary>The whole program from arguments to exit code: the list of verbs, and what each kind of failure looks like to the user.</summary>
internal static class CommandLine
{
    private const int NoSpaceLeft = 28; // ENOSPC
    private const int BrokenPipe = 32;  // EPIPE

    private static readonly ParserConfiguration s_parser = new()
    {
        ResponseFileTokenReplacer = null, // a prompt may begin with @
        EnablePosixBundling = false,
    };

    /// <summary>Runs one command line. Never throws: every failure becomes a sentence on Error and an exit code.</summary>
    public static async Task<int> RunAsync(IReadOnlyList<string> args, Terminal terminal)
    {
        var verbose = new Option<bool>("--verbose") { Description = "Show where in the program an error arose", Recursive = true };
        ParseResult parsed = Build(terminal, verbose).Parse(args, s_parser);
        try
        {
            return await InvokeAsync(parsed, terminal).ConfigureAwait(false);
        }
        catch (IOException e) when (e.HResult == BrokenPipe)
        {
            return ExitCode.Done; // the reader of our output has what it wanted
        }
        catch (Exception e)
        {
            (int code, string message) = Explain(e, terminal.Interrupted);
            message = Printable.Line(message.ReplaceLineEndings(" "));
            terminal.Error.WriteLine($"gemma4edge: {message}");
            if (parsed.GetValue(verbose))
            {
                terminal.Error.WriteLine(e);
            }

            if (WantsJson(parsed))
            {
                WriteError(terminal, code, message);
            }

            return code;
        }
    }

    private static RootCommand Build(Terminal terminal, Option<bool> verbose)
    {
        var root = new RootCommand("Runs small Gemma 4 models on this machine's CPU and answers over MQTT.")
        {
            DemoVerb.Create(terminal),
            ServeVerb.Create(terminal),
            RunVerb.Create(terminal),
            ChatVerb.Create(terminal),
            SendVerb.Create(terminal),
            FleetVerb.Create(terminal),
            ConvertVerb.Create(terminal),
            InspectVerb.Create(terminal),
            LogitsVerb.Create(terminal),
            TokenizeVerb.Create(terminal),
            RenderVerb.Create(terminal),
            EvalVerb.Create(terminal),
            PerplexityVerb.Create(terminal),
            BenchVerb.Create(terminal),
            ConfigVerb.Create(terminal),
            MqttVerb.Create(terminal),
            DoctorVerb.Create(terminal),
            VersionVerb.Create(terminal),
            verbose,
        };
        HelpOption help = root.Options.OfType<HelpOption>().Single();
        help.Action = new HelpWithExamples((HelpAction)help.Action!);
        return root;
    }

    /// <summary>The words that lead to a command: gemma4edge config check.</summary>
    private static IEnumerable<string> Path(CommandResult? result) =>
        result is null ? [] : Path(result.Parent as CommandResult).Append(result.Command is RootCommand ? "gemma4edge" : result.Command.Name);

    private static async Task<int> InvokeAsync(ParseResult parsed, Terminal terminal)
    {
        if (parsed.Errors.Count > 0)
        {
            string command = string.Join(' ', Path(parsed.CommandResult));
            throw CommandException.WrongUsage($"{ProblemOf(parsed)} '{command} --help' shows how it is used.");
        }

        var configuration = new InvocationConfiguration
        {
            Output = terminal.Out,
            Error = terminal.Error,
            EnableDefaultExceptionHandler = false,
            ProcessTerminationTimeout = null, // Program listens to the signals
        };
        try
        {
            return await parsed.InvokeAsync(configuration, terminal.Interrupted).ConfigureAwait(false);
        }
        finally
        {
            terminal.Out.Flush();
        }
    }

    /// <summary>What is wrong with the words of a command line, in one sentence.</summary>
    private static string ProblemOf(ParseResult parsed)
    {
        Command command = parsed.CommandResult.Command;
        if (parsed.UnmatchedTokens is [string unknown, ..])
        {
            IEnumerable<Option> options = command.Options.Concat(parsed.RootCommandResult.Command.Options.Where(option => option.Recursive));
            IEnumerable<string> known = options.Select(option => option.Name).Concat(command.Subcommands.Select(verb => verb.Name));
            return $"'{unknown}' is not known here{(Suggestion.For(unknown, known) is { } meant ? $"; did you mean '{meant}'?" : ".")}";
        }

        string[] missing = [.. command.Arguments.Where(argument => argument.Arity.MinimumNumberOfValues > 0 && parsed.GetResult(argument) is not { Tokens.Count: > 0 }).Select(argument => argument.Name)];
        return command.Subcommands.Count > 0 ? $"A command is missing; expected one of {string.Join(", ", command.Subcommands.Select(verb => verb.Name))}."
            : missing.Length > 0 ? $"{string.Join(" and ", missing)} {(missing.Length == 1 ? "is" : "are")} missing."
            : parsed.Errors[0].Message;
    }

    private static bool WantsJson(ParseResult parsed) =>
        parsed.CommandResult.Command.Options.OfType<Option<bool>>().FirstOrDefault(option => option.Name == "--json") is { } json && parsed.GetValue(json);

    /// <summary>The one object on Out where a verb has come to none.</summary>
    private static void WriteError(Terminal terminal, int code, string message)
    {
        try
        {
            JsonOutput.WriteObject(terminal.Out, json =>
            {
                json.WriteString("type", "error");
                json.WriteStartObject("error");
                json.WriteString("message", message);
                json.WriteEndObject();
                json.WriteNumber("exit_code", code);
            });
            terminal.Out.Flush();
        }
        catch (IOException)
        {
            // nobody reads it, or the disk is full: Error has said it
        }
    }

    private static (int Code, string Message) Explain(Exception failure, CancellationToken interrupted) => failure switch
    {
        CommandException e => (e.ExitCode, e.Message),
        ModelFileException or InvalidDataException => (ExitCode.BadModelFile, failure.Message), // the latter: weights that compute no numbers
        ConversionException e => (ExitCode.Failed, e.Message),
        ContextLengthException e => (ExitCode.WrongUsage, $"--context is {e.Context}: {e.Message}"),
        KvFormatException or HeadModeException or ActivationFormatException => (ExitCode.WrongUsage, failure.Message),
        OperationCanceledException when interrupted.IsCancellationRequested => (ExitCode.Interrupted, "Interrupted."),
        ConfigurationException e => (ExitCode.WrongUsage, e.Message),
        BrokerUnavailableException e => (ExitCode.Broker, e.Message),
        TimeoutException or ContextOverflowException or FormatException => (ExitCode.Failed, failure.Message),
        InsufficientMemoryException e => (ExitCode.NoMemoryOrDisk, e.Message),
        OutOfMemoryException => (ExitCode.NoMemoryOrDisk, "The memory of this machine does not suffice: choose a smaller --context or a smaller model."),
        IOException e when e.HResult == NoSpaceLeft => (ExitCode.NoMemoryOrDisk, $"{e.Message.TrimEnd('.')}. Free some space and run it again."),
        IOException or UnauthorizedAccessException => (ExitCode.Failed, $"{failure.Message.TrimEnd('.')}. Check the path, and that this user may read or write there."),
        _ => (ExitCode.Failed, $"{failure.Message} This is a fault of the program: run it again with --verbose and report what it prints."),
    };
}
