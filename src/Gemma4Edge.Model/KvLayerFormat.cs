using Gemma4Edge.Kernels;

namespace Gemma4Edge.Model;

/// <summary>How one layer keeps its keys and its values.</summary>
/// <param name="Name">The name of the pair, as the user writes it.</param>
/// <param name="Keys">Format of the keys.</param>
/// <param name="Values">Format of the values.</param>
public sealed record KvLayerFormat(string Name, KvFormat Keys, KvFormat Values)
{
    /// <summary>Exact.</summary>
    public static KvLayerFormat F32 { get; } = new("f32", KvFormat.F32, KvFormat.F32);

    /// <summary>Half precision.</summary>
    public static KvLayerFormat F16 { get; } = new("f16", KvFormat.F16, KvFormat.F16);

    /// <summary>Both at 8 bits.</summary>
    public static KvLayerFormat Kv8 { get; } = new("kv8", KvFormat.Kv8, KvFormat.Kv8);

    /// <summary>Keys at 8 bits, values at 4: an error in a key moves every weight of the sum, an error in a value only its own term.</summary>
    public static KvLayerFormat K8V4 { get; } = new("k8v4", KvFormat.Kv8, KvFormat.Tq4);

    /// <summary>Both at 4 bits, with the first and the last positions at 8.</summary>
    public static KvLayerFormat K4V4 { get; } = new("k4v4", KvFormat.Tq4Ends, KvFormat.Tq4Ends);

    /// <summary>Both at 4 bits, every position: what <see cref="Polar4"/> and <see cref="Prod4"/> are compared with.</summary>
    public static KvLayerFormat Tq4 { get; } = new("tq4", KvFormat.Tq4, KvFormat.Tq4);

    /// <summary>PolarQuant.</summary>
    public static KvLayerFormat Polar4 { get; } = new("polar4", KvFormat.Polar4, KvFormat.Polar4);

    /// <summary>TurboQuant_prod.</summary>
    public static KvLayerFormat Prod4 { get; } = new("prod4", KvFormat.Prod4, KvFormat.Prod4);

    /// <summary>Every pair.</summary>
    public static IReadOnlyList<KvLayerFormat> All { get; } = [F32, F16, Kv8, K8V4, K4V4, Tq4, Polar4, Prod4];
}
