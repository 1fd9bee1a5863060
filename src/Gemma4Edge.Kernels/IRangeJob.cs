namespace Gemma4Edge.Kernels;

/// <summary>Work on the indexes [0, count) that may be done in pieces and in any order, on any thread.</summary>
public interface IRangeJob
{
    /// <summary>Does the indexes [<paramref name="first"/>, first + <paramref name="count"/>). Runs on several threads at once, each with its own range.</summary>
    void Run(int first, int count);
}
