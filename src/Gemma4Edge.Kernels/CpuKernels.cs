using System.Collections.Frozen;

namespace Gemma4Edge.Kernels;

/// <summary>The kernels this process uses: one instruction set, chosen once, one kernel per family and weight format.</summary>
/// <remarks>Immutable, safe on any thread.</remarks>
public sealed class CpuKernels
{
    /// <summary>Environment variable that names the instruction set when the caller does not.</summary>
    public const string EnvironmentVariable = "GEMMA4EDGE_KERNEL";

    private readonly FrozenDictionary<QuantFormat, IWeightKernel> _kernels;
    private readonly FrozenDictionary<QuantFormat, IGgmlInt8Kernel> _int8Kernels;

    private CpuKernels(string name)
    {
        Name = name;
        _kernels = QuantFormats.All.ToFrozenDictionary(f => f, f => Best(f.Kernels, name));
        _int8Kernels = QuantFormats.All.Where(f => f.Int8Kernels.Count > 0).ToFrozenDictionary(f => f, f => Best(f.Int8Kernels, name));
        Hadamard = Best(IHadamardKernel.All, name);
        TurboQuant = Best(ITurboQuantKernel.All, name);
    }

    /// <summary>Every instruction set in this binary, best first; the last is <c>scalar</c>, which every CPU runs.</summary>
    public static IReadOnlyList<string> Names { get; } = [.. ITurboQuantKernel.All.Select(k => k.Name)];

    /// <summary>The chosen instruction set, one of <see cref="Names"/>.</summary>
    public string Name { get; }

    /// <summary>The Hadamard transform.</summary>
    internal IHadamardKernel Hadamard { get; }

    /// <summary>Products of TurboQuant panels.</summary>
    internal ITurboQuantKernel TurboQuant { get; }

    /// <summary>Chooses an instruction set.</summary>
    /// <param name="requested">One of <see cref="Names"/>; null or empty = what <see cref="EnvironmentVariable"/> says, else the best this CPU can run.</param>
    /// <exception cref="ArgumentException">There is no such instruction set.</exception>
    /// <exception cref="PlatformNotSupportedException">This CPU lacks it.</exception>
    public static CpuKernels Select(string? requested)
    {
        if (string.IsNullOrEmpty(requested))
        {
            requested = Environment.GetEnvironmentVariable(EnvironmentVariable);
        }

        bool any = string.IsNullOrEmpty(requested);
        return ITurboQuantKernel.All.FirstOrDefault(k => any ? k.IsSupported : k.Name == requested) switch
        {
            { IsSupported: true } kernel => new CpuKernels(kernel.Name),
            null => throw new ArgumentException($"Unknown kernel '{requested}'. Known: {string.Join(", ", Names)}."),
            _ => throw new PlatformNotSupportedException($"Kernel '{requested}' needs instructions this CPU lacks."),
        };
    }

    /// <summary>The kernel for a format.</summary>
    public IWeightKernel For(QuantFormat format) => _kernels[format];

    /// <summary>The kernel for a format with 8-bit activations; null = it has none.</summary>
    internal IGgmlInt8Kernel? Int8For(QuantFormat format) => _int8Kernels.GetValueOrDefault(format);

    /// <summary>A family's kernel for the instruction set, or where it has none of that name, the best of its simpler ones.</summary>
    private static T Best<T>(IReadOnlyList<T> family, string name)
        where T : ICpuKernel
    {
        IEnumerable<string> allowed = Names.SkipWhile(n => n != name);
        return family.First(k => k.IsSupported && allowed.Contains(k.Name));
    }
}
