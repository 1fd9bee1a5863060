namespace Gemma4Edge.Kernels;

/// <summary>How keys and values are stored.</summary>
public enum KvFormat
{
    /// <summary>Single precision: exact.</summary>
    F32,

    /// <summary>Half precision: half the memory, relative error 2⁻¹¹. Normed keys and values stay far below its limit of 65504.</summary>
    F16,
}
