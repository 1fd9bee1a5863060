using System.Diagnostics.CodeAnalysis;

namespace Gemma4Edge.Kernels;

/// <summary>The table of ggml's weight formats. A row is the whole registration of a format: reader, selection, tests and benchmarks go through it.</summary>
/// <remarks>Names, numbers and blocks are ggml's. Each format's folder says what a block looks like. Immutable, safe on any thread.</remarks>
public static class QuantFormats
{
    /// <summary>IEEE single precision.</summary>
    public static QuantFormat F32 { get; } = Row<F32Avx2, F32Neon, F32Scalar>("f32", 0);

    /// <summary>IEEE half precision.</summary>
    public static QuantFormat F16 { get; } = Row<F16Avx2, F16Neon, F16Scalar>("f16", 1);

    /// <summary>bfloat16: the upper half of a single.</summary>
    public static QuantFormat BF16 { get; } = Row<BF16Avx2, BF16Neon, BF16Scalar>("bf16", 30);

    /// <summary>8 bits, one scale for 32 weights.</summary>
    public static QuantFormat Q8_0 { get; } = Row<Q8_0Avx2, Q8_0Neon, Q8_0Scalar>("q8_0", 8, Int8<Q8_0Int8Avx2, Q8_0Int8Neon, Q8_0Scalar>());

    /// <summary>4 bits, one scale for 32 weights.</summary>
    public static QuantFormat Q4_0 { get; } = Row<Q4_0Avx2, Q4_0Neon, Q4_0Scalar>("q4_0", 2, Int8<Q4_0Int8Avx2, Q4_0Int8Neon, Q4_0Scalar>());

    /// <summary>4 bits, scale and minimum for 32 weights, super-blocks of 256.</summary>
    public static QuantFormat Q4_K { get; } = Row<Q4_KAvx2, Q4_KNeon, Q4_KScalar>("q4_k", 12);

    /// <summary>5 bits, scale and minimum for 32 weights, super-blocks of 256.</summary>
    public static QuantFormat Q5_K { get; } = Row<Q5_KAvx2, Q5_KNeon, Q5_KScalar>("q5_k", 13);

    /// <summary>6 bits, scale for 16 weights, super-blocks of 256.</summary>
    public static QuantFormat Q6_K { get; } = Row<Q6_KAvx2, Q6_KNeon, Q6_KScalar>("q6_k", 14);

    /// <summary>Every format, plain floats first.</summary>
    public static IReadOnlyList<QuantFormat> All { get; } = [F32, F16, BF16, Q8_0, Q4_0, Q4_K, Q5_K, Q6_K];

    /// <summary>Finds the format of a GGUF tensor entry's type number.</summary>
    public static bool TryFromGgmlType(int ggmlType, [NotNullWhen(true)] out QuantFormat? format)
    {
        format = All.FirstOrDefault(f => f.GgmlType == ggmlType);
        return format is not null;
    }

    /// <summary>Finds a format by its lower-case name.</summary>
    public static bool TryFromName(string name, [NotNullWhen(true)] out QuantFormat? format)
    {
        format = All.FirstOrDefault(f => f.Name == name);
        return format is not null;
    }

    private static QuantFormat Row<TAvx2, TNeon, TScalar>(string name, int ggmlType, IReadOnlyList<IGgmlInt8Kernel>? int8Kernels = null)
        where TAvx2 : struct, IAvx2Block<TAvx2>
        where TNeon : struct, INeonBlock<TNeon>
        where TScalar : struct, IScalarBlock => new(name)
        {
            GgmlType = ggmlType,
            BlockColumns = TScalar.Columns,
            BlockBytes = TScalar.Bytes,
            Kernels = [new Avx2Kernel<TAvx2, TScalar>(), new NeonKernel<TNeon, TScalar>(), new ScalarKernel<TScalar>()],
            Int8Kernels = int8Kernels ?? [],
        };

    private static IReadOnlyList<IGgmlInt8Kernel> Int8<TAvx2, TNeon, TScalar>()
        where TAvx2 : struct, IAvx2Int8Block
        where TNeon : struct, INeonInt8Block
        where TScalar : struct, IScalarInt8Block =>
    [
        new GgmlInt8Avx2<AvxVnniDot, TAvx2, TScalar>(), new GgmlInt8Avx2<Avx2Dot, TAvx2, TScalar>(),
        new GgmlInt8Neon<NeonDotProdInt8Dot, TNeon, TScalar>(), new GgmlInt8Neon<NeonInt8Dot, TNeon, TScalar>(),
        new GgmlInt8Scalar<TScalar>(),
    ];
}
