using Gemma4Edge.Kernels;
using Gemma4Edge.Model;

namespace Gemma4Edge.Service;

/// <summary>Section Model.</summary>
public sealed record ModelOptions
{
    /// <summary>A GGUF file or a Hugging Face folder.</summary>
    public required string Path { get; init; }

    /// <summary>Longest sequence in tokens; 0 = the engine's default.</summary>
    public int Context { get; init; }

    /// <summary>Compute threads; 0 = one per core.</summary>
    public int Threads { get; init; }

    /// <summary>Instruction set of the kernels; null = the best of this CPU.</summary>
    public string? Kernel { get; init; }

    /// <summary>How keys and values are kept.</summary>
    public KvCacheFormat Kv { get; init; } = KvCacheFormat.Default;

    /// <summary>How the LM head is computed for sampling.</summary>
    public HeadMode Head { get; init; }

    /// <summary>How activations enter the products with the weights.</summary>
    public ActivationFormat Activations { get; init; }

    /// <summary>Whether prompt tokens skip the layers that write no keys and values.</summary>
    public bool SkipShared { get; init; } = true;

    /// <summary>Most conversations that are kept.</summary>
    public int Sessions { get; init; } = 8;

    /// <summary>Whether <see cref="Kv"/> may be replaced by a smaller format where memory is short: nobody asked for one.</summary>
    public bool IsKvFree { get; init; }

    /// <summary>Memory the service may need; null = what the machine or its control group has, less a reserve. See <see cref="MemorySize"/>.</summary>
    public MemorySize? MemoryBudget { get; init; }

    /// <summary>Least available memory and highest share of time spent waiting for memory at which requests are still taken.</summary>
    public long LeastAvailableBytes { get; init; } = 64 << 20;

    /// <summary>Percent of 10 seconds in which some task waited for memory (/proc/pressure/memory, some avg10): above it no request is taken.</summary>
    public float MostMemoryPressure { get; init; } = 40;

    /// <summary>From this temperature on half of the threads compute, until it is 5 degrees cooler.</summary>
    public float HotCelsius { get; init; } = 80;

    /// <summary>From this temperature on no request is taken, until it is 5 degrees cooler.</summary>
    public float CriticalCelsius { get; init; } = 90;

    /// <summary>System text of requests that bring none; null = none.</summary>
    public string? System { get; init; }

    /// <summary>Reads and checks the section.</summary>
    /// <exception cref="ConfigurationException">A key or a value is wrong.</exception>
    internal static ModelOptions Read(OptionReader reader)
    {
        var defaults = new ModelOptions { Path = "" };
        var model = new ModelOptions
        {
            Path = reader.Text("Path", "", "a GGUF file or a Hugging Face folder")!,
            Context = reader.Whole("Context", 0, 0, 1 << 20),
            Threads = reader.Whole("Threads", 0, 0, 1024),
            Kernel = reader.Text("Kernel", null, "one of " + string.Join(", ", CpuKernels.Names), value => CpuKernels.Names.Contains(value)),
            Kv = ReadKv(reader),
            Head = ReadHead(reader),
            Activations = ActivationFormats.Parse(
                reader.Text("Activations", ActivationFormats.NameOf(ActivationFormat.Auto), "one of " + string.Join(", ", ActivationFormats.Names), ActivationFormats.Names.Contains)!),
            SkipShared = reader.Flag("SkipShared", true),
            Sessions = reader.Whole("Sessions", 8, 1, 1024),
            System = reader.Text("System", null),
            IsKvFree = reader.Text("Kv", KvCacheFormat.Auto) == KvCacheFormat.Auto,
            MemoryBudget = ReadBudget(reader),
            LeastAvailableBytes = reader.Whole("LeastAvailableMiB", 64, 0, 1 << 20) * (1L << 20),
            MostMemoryPressure = reader.Number("MostMemoryPressure", defaults.MostMemoryPressure, 0, 100),
            HotCelsius = reader.Number("HotCelsius", defaults.HotCelsius, 20, 150),
            CriticalCelsius = reader.Number("CriticalCelsius", defaults.CriticalCelsius, 20, 150),
        };
        reader.RefuseOthers();
        if (model.HotCelsius >= model.CriticalCelsius)
        {
            throw new ConfigurationException(FormattableString.Invariant(
                $"Model:HotCelsius is {model.HotCelsius} and Model:CriticalCelsius is {model.CriticalCelsius}; expected HotCelsius below CriticalCelsius: a hot node computes with half of its threads before it refuses requests."));
        }

        return model.Path.Length > 0 ? model : throw new ConfigurationException(
            "Model:Path is missing; expected a GGUF file or a Hugging Face folder: set it in the configuration, or start with --model.");
    }

    private static MemorySize? ReadBudget(OptionReader reader) =>
        reader.Text("MemoryBudget", null, MemorySize.Syntax, text => MemorySize.TryParse(text, out _)) is { } text && MemorySize.TryParse(text, out MemorySize size) ? size : null;

    private static KvCacheFormat ReadKv(OptionReader reader)
    {
        string name = reader.Text("Kv", KvCacheFormat.Auto, "one of " + string.Join(", ", KvCacheFormat.Names), value => KvCacheFormat.TryFromName(value, out _))!;
        KvCacheFormat.TryFromName(name, out KvCacheFormat? format);
        return format!.With(reader.List("KvLayers", [], KvCacheFormat.LayerSyntax, value => KvCacheFormat.TryParseLayer(value, out _, out _)));
    }

    private static HeadMode ReadHead(OptionReader reader)
    {
        string name = reader.Text("Head", HeadModes.NameOf(HeadMode.Auto), "one of " + string.Join(", ", HeadModes.Names), value => HeadModes.TryFromName(value, out _))!;
        HeadModes.TryFromName(name, out HeadMode head);
        return head;
    }
}
