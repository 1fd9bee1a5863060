namespace Gemma4Edge.Kernels;

/// <summary>What every kernel has: the instruction set it is written for.</summary>
public interface ICpuKernel
{
    /// <summary>The instruction set, one of <see cref="CpuKernels.Names"/>.</summary>
    string Name { get; }

    /// <summary>Whether this CPU can run it.</summary>
    bool IsSupported { get; }
}
