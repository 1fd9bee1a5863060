namespace Gemma4Edge.Runtime;

/// <summary>The failures that have one text wherever they happen.</summary>
public static class Failures
{
    /// <summary>Somebody cancelled the request.</summary>
    public static GenerationFailure Cancelled { get; } =
        new(FailureCode.Cancelled, "The request was cancelled.", "Send it again if that was not meant.");

    /// <summary>The deadline passed while the request waited.</summary>
    public static GenerationFailure Expired { get; } =
        new(FailureCode.Expired, "The request waited longer than its deadline and was not started.", "Send it again, or allow it more time with deadline_ms.");

    /// <summary>The service stops while it works on the request.</summary>
    public static GenerationFailure Interrupted { get; } =
        new(FailureCode.Interrupted, "The service stopped before the answer was complete.", "Send it again when the node is online.");

    /// <summary>The node was told to take no requests.</summary>
    public static GenerationFailure Disabled { get; } =
        new(FailureCode.Disabled, "The node accepts no prompts now.", "Switch it on again with config/enabled/set, or ask another node.");

    /// <summary>The request cannot be kept.</summary>
    public static GenerationFailure NoSpace { get; } =
        new(FailureCode.NoSpace, "The node has no disk space left for its journal, and does not work on the request without it.", "Free space under its state directory, or ask another node.");

    /// <summary>The process has died at it before.</summary>
    public static GenerationFailure KilledTheProcess { get; } =
        new(FailureCode.Internal, "The service died twice while it worked on the request and does not try a third time.", "Change the request; the service's log has more.");

    /// <summary>Prompt and answer do not fit into the context.</summary>
    public static GenerationFailure ContextOverflow(ContextOverflowException overflow)
    {
        ArgumentNullException.ThrowIfNull(overflow);
        return new(FailureCode.ContextOverflow, overflow.Message, "Shorten the prompt, clear the session, or give the model a larger context.");
    }

    /// <summary>The deadline passed while the request was worked on, before a tool could act.</summary>
    public static GenerationFailure ExpiredBeforeActing(string tool) =>
        new(FailureCode.Expired, $"The deadline passed before {tool} could act; it did not.", "Send the request again, or allow it more time with deadline_ms.");

    /// <summary>The model calls tools without end.</summary>
    public static GenerationFailure TooManyRounds(int rounds, string tool) =>
        new(FailureCode.ToolFailed, $"The model has called tools {rounds} times in a row and would now call {tool} again; that was not done.", "Ask for less at once, or raise Tools:MaxRounds.");

    /// <summary>The processor is too hot to work.</summary>
    public static GenerationFailure Overheated(double celsius) =>
        new(FailureCode.Overheated, FormattableString.Invariant($"The processor has {celsius:F0} °C and must cool down first."), "Send it again in some minutes; the device needs a fan or a cooler place.");

    /// <summary>The machine is about to swap.</summary>
    public static GenerationFailure NoMemory(string why) =>
        new(FailureCode.NoMemory, $"The machine is short of memory: {why}.", "Send it again later; end other programs, or give the model a smaller Model:Context.");

    /// <summary>The answer is there, but the broker does not take it.</summary>
    public static GenerationFailure CannotBePublished(string why) =>
        new(FailureCode.Internal, $"The answer is complete but could not be published: {why}.", "Raise the broker's limit (max_packet_size in mosquitto.conf), or ask for less with max_tokens.");

    /// <summary>The line is full.</summary>
    public static GenerationFailure QueueFull(int capacity) =>
        new(FailureCode.QueueFull, $"All {capacity} places of the queue are taken.", "Send the request again in a moment.");
}
