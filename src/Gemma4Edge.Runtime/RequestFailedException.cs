namespace Gemma4Edge.Runtime;

/// <summary>A request cannot go on; <see cref="Failure"/> is what its sender is told.</summary>
public sealed class RequestFailedException(GenerationFailure failure) : Exception(failure.Message)
{
    /// <summary>How the request ends.</summary>
    public GenerationFailure Failure { get; } = failure;
}
