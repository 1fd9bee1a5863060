namespace Gemma4Edge.Model.Text;

/// <summary>The two forms of Gemma 4's chat template.</summary>
public enum TemplateForm
{
    /// <summary>E2B, E4B: nothing follows the opening of the model's turn.</summary>
    Small,

    /// <summary>12B and larger: without thinking, an empty thought block follows the opening of the model's turn.</summary>
    Big,
}

/// <summary>Gemma 4's chat template (published 2026-07-09): a conversation becomes the prompt the model was trained on.</summary>
/// <remarks>
/// Written once, for two sinks: as text (to show and to compare) and as token ids. In the ids, special tokens come from the template alone:
/// their names inside messages, tool declarations, arguments and answers stay text. Pure functions.
/// </remarks>
public static class ChatTemplate
{
    /// <summary>The prompt as text; names of special tokens from the template and from messages cannot be told apart in it.</summary>
    public static string RenderText(Conversation conversation, TemplateForm form)
    {
        var sink = new TextPromptSink();
        new TurnRenderer(sink).Render(conversation, form);
        return sink.ToString();
    }

    /// <summary>The prompt as token ids, <c>&lt;bos&gt;</c> first.</summary>
    /// <returns>A list of the caller's own. Equal to encoding <see cref="RenderText"/> with special tokens on, unless a message holds the name of one, or the vocabulary has no thought channel: such a model gets the small form.</returns>
    /// <exception cref="FormatException">The vocabulary lacks a token that the conversation needs, for example the one for images.</exception>
    public static List<int> RenderIds(Conversation conversation, TemplateForm form, GemmaTokenizer tokenizer)
    {
        var sink = new TokenPromptSink(tokenizer);
        bool hasThoughts = tokenizer.Special.ChannelStart >= 0; // without them no empty thought can be asked for
        new TurnRenderer(sink).Render(conversation, hasThoughts ? form : TemplateForm.Small);
        return sink.Ids();
    }
}
