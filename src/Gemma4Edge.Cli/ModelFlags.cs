using System.CommandLine;
using Gemma4Edge.Kernels;
using Gemma4Edge.Model;
using Gemma4Edge.Runtime;

namespace Gemma4Edge.Cli;

/// <summary>The options of every verb that loads a model, defined once.</summary>
internal sealed class ModelFlags
{
    private readonly CountOption _threads = new("--threads", 0, 0, "Threads that compute; 0 = one per core", maximum: 1024);
    private readonly CountOption _context = new("--context", 0, 0, "Longest sequence in tokens; 0 = what the model was made for, at most 4096");
    private readonly ChoiceOption _kernel = new("--kernel", null, "Instruction set; default the best one this CPU has", CpuKernels.Names);
    private readonly ChoiceOption _kv;
    private readonly Option<string[]> _kvLayers = new("--kv-layer") { Description = "Format of one layer's keys and values; may be repeated", HelpName = "LAYER=FORMAT" };
    private readonly ChoiceOption _head;
    private readonly ChoiceOption _activations;
    private readonly ChoiceOption _skipShared = new("--skip-shared", "on", "Whether prompt tokens skip the layers that write no keys and values", "on", "off");

    /// <summary>Adds the options to <paramref name="verb"/>.</summary>
    /// <param name="verb">A verb that loads a model.</param>
    /// <param name="kv">Its default format of the KV cache.</param>
    /// <param name="head">Its default LM head.</param>
    /// <param name="activations">Its default format of the activations.</param>
    public ModelFlags(Command verb, string kv = "auto", HeadMode head = HeadMode.Auto, ActivationFormat activations = ActivationFormat.Auto)
    {
        _head = new ChoiceOption(
            "--head", HeadModes.NameOf(head), "LM head: every logit, or exact ones for the 512 tokens that half of the bits find likeliest; auto = two-stage where that reads less", HeadModes.Names);
        _activations = new ChoiceOption(
            "--activations",
            ActivationFormats.NameOf(activations),
            "How activations meet weights: as 8-bit integers where the format has kernels for that (auto), exactly (float: slow with TurboQuant), or as auto but refused where nothing has (int8)",
            ActivationFormats.Names);
        _kv = new ChoiceOption("--kv", kv, $"Format of the KV cache; auto = {KvCacheFormat.Default.Preset}", KvCacheFormat.Names);
        _kvLayers.Validators.Add(result =>
        {
            foreach (string text in result.Tokens.Select(token => token.Value).Where(text => !KvCacheFormat.TryParseLayer(text, out _, out _)))
            {
                result.AddError($"--kv-layer: '{text}' is not known; expected {KvCacheFormat.LayerSyntax}.");
            }
        });
        foreach (Option option in (Option[])[_threads, _context, _kernel, _kv, _kvLayers, _head, _activations, _skipShared])
        {
            verb.Options.Add(option);
        }
    }

    /// <summary>The engine these options describe.</summary>
    public EngineOptions Read(ParseResult parsed, string model) => new()
    {
        Model = model,
        Threads = parsed.GetValue(_threads),
        Context = parsed.GetValue(_context),
        Kernel = SelectKernel(parsed.GetValue(_kernel)),
        Kv = ReadKv(parsed),
        Head = ReadHead(parsed),
        Activations = ActivationFormats.Parse(parsed.GetValue(_activations)!),
        SkipShared = parsed.GetValue(_skipShared) == "on",
    };

    /// <summary>The engine that another one is measured against: the same options, but exact.</summary>
    public EngineOptions ReadReference(ParseResult parsed, string model) =>
        Read(parsed, model) with { Kv = KvCacheFormat.F32, Head = HeadMode.Full, Activations = ActivationFormat.Float };

    /// <summary>What was given of these options, as keys of the service's configuration.</summary>
    public IEnumerable<KeyValuePair<string, string?>> ReadAsConfiguration(ParseResult parsed)
    {
        (Option Option, string Key)[] keys =
        [
            (_threads, "Model:Threads"), (_context, "Model:Context"), (_kernel, "Model:Kernel"), (_kv, "Model:Kv"), (_head, "Model:Head"),
            (_activations, "Model:Activations"), (_skipShared, "Model:SkipShared"),
        ];
        return keys
            .Where(pair => parsed.GetResult(pair.Option) is { Implicit: false })
            .Select(pair => KeyValuePair.Create(pair.Key, (string?)InConfiguration(parsed.GetResult(pair.Option)!.Tokens[0].Value)))
            .Concat((parsed.GetValue(_kvLayers) ?? []).Select((text, index) => KeyValuePair.Create($"Model:KvLayers:{index}", (string?)text)));

        static string InConfiguration(string word) => word switch
        {
            "on" => "true",
            "off" => "false",
            _ => word,
        };
    }

    private KvCacheFormat ReadKv(ParseResult parsed)
    {
        KvCacheFormat.TryFromName(parsed.GetValue(_kv)!, out KvCacheFormat? format);
        return format!.With(parsed.GetValue(_kvLayers) ?? []);
    }

    private HeadMode ReadHead(ParseResult parsed)
    {
        HeadModes.TryFromName(parsed.GetValue(_head)!, out HeadMode head);
        return head;
    }

    /// <summary>Name of the instruction set that will be used.</summary>
    /// <param name="requested">The user's wish; null = what the environment says, else the best.</param>
    /// <exception cref="CommandException">There is none of that name, or this CPU lacks it.</exception>
    public static string SelectKernel(string? requested)
    {
        try
        {
            return CpuKernels.Select(requested).Name;
        }
        catch (ArgumentException) // the option knows its values, so it was the environment
        {
            throw CommandException.WrongUsage($"{CpuKernels.EnvironmentVariable} names no kernel; expected {string.Join(" or ", CpuKernels.Names)}.");
        }
        catch (PlatformNotSupportedException e)
        {
            throw CommandException.WrongUsage(e.Message);
        }
    }
}
