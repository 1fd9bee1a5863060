using System.Text;
using System.Text.Json;

namespace Gemma4Edge.Model.Text;

/// <summary>Renders the turns of a conversation, in the order and with the conditions of the published template.</summary>
internal sealed class TurnRenderer(PromptSink sink)
{
    private readonly ToolRenderer _tools = new(sink);

    private enum Last
    {
        Other,
        ToolCall,
        ToolResponse,
    }

    public void Render(Conversation conversation, TemplateForm form)
    {
        IReadOnlyList<ChatMessage> messages = conversation.Messages;
        int first = messages.Count > 0 && messages[0].Role is ChatRole.System or ChatRole.Developer ? 1 : 0;
        sink.Marker("<bos>");
        if (first == 1 || conversation.EnableThinking || conversation.Tools.Count > 0)
        {
            SystemTurn(conversation, first == 1 ? messages[0] : null);
        }

        int lastUser = messages.Count - 1;
        while (lastUser >= first && messages[lastUser].Role != ChatRole.User)
        {
            lastUser--;
        }
        Last last = Last.Other;
        ChatRole? previous = null;
        for (int i = first; i < messages.Count; i++)
        {
            ChatMessage message = messages[i];
            if (message.Role == ChatRole.Tool)
            {
                continue;                                // rendered with the message that made the call
            }
            bool showThought = i > lastUser || (conversation.PreserveThinking && message.ToolCalls.Count > 0);
            last = Turn(messages, i, previous, showThought);
            previous = message.Role;
        }
        if (conversation.AddGenerationPrompt)
        {
            GenerationPrompt(last, conversation.EnableThinking, form);
        }
    }

    private void SystemTurn(Conversation conversation, ChatMessage? system)
    {
        sink.Marker("<|turn>");
        sink.Text("system\n");
        if (conversation.EnableThinking)
        {
            sink.Marker("<|think|>");
            sink.Text("\n");
        }
        foreach (ContentPart part in system?.Parts ?? [])
        {
            sink.Text(PythonText.Strip(part.Text) + " ");
        }
        sink.Text(PythonText.Strip(system?.Text ?? ""));
        foreach (ToolDefinition tool in conversation.Tools)
        {
            _tools.Declaration(tool);
        }
        EndTurn();
    }

    private Last Turn(IReadOnlyList<ChatMessage> messages, int index, ChatRole? previous, bool showThought)
    {
        ChatMessage message = messages[index];
        bool isModel = message.Role == ChatRole.Assistant;
        if (!isModel || previous != ChatRole.Assistant)
        {
            sink.Marker("<|turn>");
            sink.Text(isModel ? "model\n" : message.Role.ToString().ToLowerInvariant() + "\n");
        }
        if (showThought && !string.IsNullOrEmpty(message.Reasoning))
        {
            sink.Marker("<|channel>");
            sink.Text("thought\n" + message.Reasoning + "\n");
            sink.Marker("<channel|>");
        }
        foreach (ToolCall call in message.ToolCalls)
        {
            _tools.Call(call);
        }
        bool answered = ToolResponses(messages, index);
        bool hasContent = Content(message, isModel);

        ChatMessage? next = messages.Skip(index + 1).FirstOrDefault(m => m.Role != ChatRole.Tool);
        bool openCalls = message.ToolCalls.Count > 0 && !answered;
        if (openCalls)
        {
            sink.Marker("<|tool_response>");
        }
        else if (!(isModel && next?.Role == ChatRole.Assistant) && !(answered && !hasContent && next is null))
        {
            EndTurn();
        }
        return answered ? Last.ToolResponse : openCalls ? Last.ToolCall : Last.Other;
    }

    /// <summary>The answers to the calls of message <paramref name="index"/>: its own, or the tool messages that follow it.</summary>
    private bool ToolResponses(IReadOnlyList<ChatMessage> messages, int index)
    {
        ChatMessage message = messages[index];
        foreach (ToolResponse response in message.ToolResponses)
        {
            _tools.Response(response.Name, response.Response);
        }
        if (message.ToolResponses.Count > 0 || message.ToolCalls.Count == 0)
        {
            return message.ToolResponses.Count > 0;
        }
        int i = index + 1;
        for (; i < messages.Count && messages[i].Role == ChatRole.Tool; i++)
        {
            ChatMessage answer = messages[i];
            // As published: the last call with the same id gives the name, and two absent ids are the same.
            string name = message.ToolCalls.LastOrDefault(c => c.Id == answer.ToolCallId)?.Name
                ?? (string.IsNullOrEmpty(answer.Name) ? "unknown" : answer.Name);
            if (answer.Response is { } structured)
            {
                _tools.Response(name, structured);
                continue;
            }
            _tools.Response(name, answer.Parts is null ? answer.Text : string.Concat(answer.Parts.Select(p => p.Text)));
            foreach (ContentPart part in answer.Parts ?? [])
            {
                Media(part);
            }
        }
        return i > index + 1;
    }

    /// <summary>The content of a message, each part trimmed on its own.</summary>
    /// <returns>Whether anything was written.</returns>
    private bool Content(ChatMessage message, bool isModel)
    {
        bool any = false;
        foreach (ContentPart part in message.Parts ?? [new ContentPart(ContentKind.Text, message.Text ?? "")])
        {
            string text = PythonText.Strip(isModel ? WithoutThoughts(part.Text) : part.Text);
            sink.Text(text);
            Media(part);
            any |= text.Length > 0 || part.Kind != ContentKind.Text;
        }
        return any;
    }

    private void Media(ContentPart part)
    {
        if (part.Kind != ContentKind.Text)
        {
            sink.Marker(part.Kind switch { ContentKind.Image => "<|image|>", ContentKind.Audio => "<|audio|>", _ => "<|video|>" });
        }
    }

    private void GenerationPrompt(Last last, bool enableThinking, TemplateForm form)
    {
        if (last == Last.Other)
        {
            sink.Marker("<|turn>");
            sink.Text("model\n");
            if (form == TemplateForm.Big && !enableThinking)
            {
                sink.Marker("<|channel>");
                sink.Text("thought\n");
                sink.Marker("<channel|>");
            }
        }
        else if (last == Last.ToolResponse && enableThinking)
        {
            sink.Marker("<|channel>");
            sink.Text("thought\n");
        }
    }

    private void EndTurn()
    {
        sink.Marker("<turn|>");
        sink.Text("\n");
    }

    /// <summary>Removes what stands between <c>&lt;|channel&gt;</c> and <c>&lt;channel|&gt;</c>, or the end.</summary>
    private static string WithoutThoughts(string text)
    {
        var kept = new StringBuilder();
        foreach (string part in text.Split("<channel|>"))
        {
            int thought = part.IndexOf("<|channel>", StringComparison.Ordinal);
            kept.Append(thought < 0 ? part : part[..thought]);
        }
        return kept.ToString();
    }
}
